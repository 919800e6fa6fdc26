-- Learn that a provider gives nothing back at the end of a call, by what it says of what remains.
-- KEYS    per provider key: hash of its rate (fields: `worker.providers.rate_lines`)
-- ARGV[1] microseconds for which that is believed
-- returns the number of keys of which it is new
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local new, LONGEST = 0, 5000000

for _, hash in ipairs(KEYS) do
  local stored = redis.call('HMGET', hash, 'k', 'a', 't', 'T')
  local known, asked = tonumber(stored[1] or '0'), tonumber(stored[2] or '0')
  if known <= now then
    -- What was taken too fast until now is paid back at once: a minute may have but one worth.
    new, asked = new + 1, math.min(asked, now + LONGEST)
    for i, name in ipairs({'t', 'T'}) do
      local line = math.max(asked, tonumber(stored[i + 2] or '0'))
      redis.call('HSET', hash, name, string.format('%.0f', line))
    end
  end
  redis.call('HSET', hash, 'k', string.format('%.0f', math.max(known, now + ARGV[1])))
  redis.call('PEXPIRE', hash, math.ceil(ARGV[1] / 1000) + 120000)
end
return new
