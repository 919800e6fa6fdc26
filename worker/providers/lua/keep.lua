-- Learn that a provider gives nothing back at the end of a call, by what it says of what remains.
-- KEYS    per provider key: hash of its rate (fields: `worker.providers.rate_lines`)
-- ARGV[1] microseconds for which that is believed
-- returns the number of keys of which it is new
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local new = 0

for _, hash in ipairs(KEYS) do
  local known = tonumber(redis.call('HGET', hash, 'k') or '0')
  if known <= now then new = new + 1 end
  redis.call('HSET', hash, 'k', string.format('%.0f', math.max(known, now + ARGV[1])))
  redis.call('PEXPIRE', hash, math.ceil(ARGV[1] / 1000) + 120000)
end
return new
