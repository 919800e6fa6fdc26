-- Keep the leases of calls under way; one that was lost is made again.
-- KEYS    per provider key: sorted set of leases
-- ARGV[1] lease in milliseconds, then per call: 1-based key number, permit
-- returns the number of leases renewed
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i = 2, #ARGV, 2 do
  local leases = KEYS[tonumber(ARGV[i])]
  redis.call('ZADD', leases, now_ms + ARGV[1], ARGV[i + 1])
  redis.call('PEXPIRE', leases, 2 * ARGV[1])
end
return (#ARGV - 1) / 2
