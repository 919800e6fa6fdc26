-- End calls: free their leases and correct what they booked.
-- KEYS    per provider key: hash of its rate (fields: `worker.providers.rate_lines`), sorted set of
--         leases (see acquire)
-- then per call in ARGV: 1-based key number, permit ("" keeps the lease), 1 where it has departed,
-- microseconds to add to its requests, to its tokens, to those that left, to all it asked for
-- (negative gives back)
-- returns the number of leases freed; an expired lease or a lost hash is no error
local freed = 0
for i = 1, #ARGV, 7 do
  local n, r, t, T, d = tonumber(ARGV[i]), ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6]
  local rate = KEYS[2 * n - 1]
  if ARGV[i + 1] ~= '' then
    freed = freed + redis.call('ZREM', KEYS[2 * n], ARGV[i + 1])
  end
  if redis.call('EXISTS', rate) == 1 then
    local changes = {r = r, t = t}
    if ARGV[i + 2] == '1' then changes.R, changes.T, changes.D = r, T, d else changes.d = d end
    for name, change in pairs(changes) do
      if change ~= '0' then redis.call('HINCRBY', rate, name, change) end
    end
  end
end
return freed
