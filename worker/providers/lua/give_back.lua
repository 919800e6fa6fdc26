-- End calls: free their leases and correct what they booked.
-- KEYS    per provider key: hash of its rate (fields: `worker.providers.rate_lines`), sorted set of
--         leases (see acquire)
-- then per call in ARGV: 1-based key number, permit ("" keeps the lease), 1 where it has departed,
-- microseconds to add to its requests, to its tokens, to those that left, to all it asked for
-- (negative gives back), and of what it asked for and did not use
-- returns the number of leases freed; an expired lease or a lost hash is no error
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local freed, slow = 0, {}

for i = 1, #ARGV, 8 do
  local n, has_departed = tonumber(ARGV[i]), ARGV[i + 2] == '1'
  local rate = KEYS[2 * n - 1]
  if ARGV[i + 1] ~= '' then
    freed = freed + redis.call('ZREM', KEYS[2 * n], ARGV[i + 1])
  end
  if slow[n] == nil then
    local stored = redis.call('HMGET', rate, 'm', 'at', 'h', 'w')
    local key = {}
    for j, name in ipairs({'m', 'at', 'h', 'w'}) do key[name] = tonumber(stored[j] or '0') end
    slow[n] = redis.call('EXISTS', rate) == 1 and 1 + margin(key, now) / 1000000
  end
  if slow[n] then
    local r, t, T = ARGV[i + 3] * slow[n], ARGV[i + 4] * slow[n], ARGV[i + 5] * slow[n]
    local changes = {r = r, t = t, B = ARGV[i + 7]}
    if has_departed then
      changes.R, changes.T, changes.D = r, T, ARGV[i + 6]
    else
      changes.d = ARGV[i + 6]
    end
    for name, change in pairs(changes) do
      if tonumber(change) ~= 0 then
        redis.call('HINCRBY', rate, name, string.format('%.0f', change))
      end
    end
  end
end
return freed
