-- End calls: free their leases and correct what they booked.
-- KEYS    per provider key: hash {r, t} of what is booked, sorted set of leases (see acquire)
-- then per call in ARGV: 1-based key number, permit ("" keeps the lease), microseconds to add to
-- the booked requests, microseconds to add to the booked tokens (negative gives back)
-- returns the number of leases freed; an expired lease or a lost hash is no error
local freed = 0
for i = 1, #ARGV, 4 do
  local n = tonumber(ARGV[i])
  local rate = KEYS[2 * n - 1]
  if ARGV[i + 1] ~= '' then
    freed = freed + redis.call('ZREM', KEYS[2 * n], ARGV[i + 1])
  end
  if redis.call('EXISTS', rate) == 1 then
    if ARGV[i + 2] ~= '0' then redis.call('HINCRBY', rate, 'r', ARGV[i + 2]) end
    if ARGV[i + 3] ~= '0' then redis.call('HINCRBY', rate, 't', ARGV[i + 3]) end
  end
end
return freed
