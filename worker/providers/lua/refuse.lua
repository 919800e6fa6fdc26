-- A provider refused calls for coming too fast: pause, go slower, and learn how it counts.
-- KEYS    per provider key: hash of its rate (fields: `worker.providers.rate_lines`)
-- ARGV    per call: 1-based key number, microseconds it was told to wait (0 nothing), microseconds
--         all tokens take that it asked for (0 where it was not refused for tokens)
-- returns the number of calls that told something new: those that left before the pause do not
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local NAMES = {'m', 'at', 'p', 'e', 's', 'l', 'h', 'b', 'D', 'k', 'kn', 'a', 'c', 'R', 'T'}
local new = 0

for i = 1, #ARGV, 3 do
  local hash, told, asked = KEYS[tonumber(ARGV[i])], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local key, stored = {}, redis.call('HMGET', hash, unpack(NAMES))
  for j, name in ipairs(NAMES) do key[name] = tonumber(stored[j] or '0') end
  key.a = key.a - asked
  redis.call('HSET', hash, 'a', string.format('%.0f', key.a))
  if now >= key.e then
    new = new + 1
    local again = now - key.e < 3000000
    local margin = math.max(4000, key.m - (now - key.at) / 2000)
    key.h = again and math.min(80000, math.max(10000, 2 * key.h)) or 10000
    key.m = math.min(900000, margin + key.h)
    key.l = again and math.min(8000000, 2 * key.l) or 250000
    local pause = math.max(100000, math.min(told, 2000000), (again or told == 0) and key.l or 0)
    if asked > 0 and key.k <= now then
      -- Where nothing is given back, refusals come at the same height of what was asked for. Three
      -- of them in a row, or a long wait: it is so. Otherwise that height goes on rising.
      local height = key.a - now
      again = again and height <= key.c + math.max(500000, key.c / 10)
      key.s = again and key.s + 1 or 1
      if not again then
        key.c = height
        if height > 50000000 and height < 80000000 then key.s = 2 end -- a minute's worth
      end
      if key.s >= 3 or told >= 2000000 + asked then
        key.kn = math.min(3600000000, math.max(300000000, 2 * key.kn))
        key.k, key.m, key.s, key.h = now + key.kn, 4000, 0, 0
      end
      key.b = math.max(250000, 0.7 * math.min(key.b == 0 and 1000000 or key.b, key.D - now))
      redis.call('HSET', hash, 'b', string.format('%.0f', key.b), 'g', string.format('%.0f', now + 300000000))
    end
    key.at, key.p, key.e = now, math.max(key.p, now + pause), now + pause
    key.R, key.T = math.max(key.R, key.p + 200000), math.max(key.T, key.p + 200000)
    for _, name in ipairs({'m', 'at', 'p', 'e', 's', 'l', 'h', 'k', 'kn', 'c', 'R', 'T'}) do
      redis.call('HSET', hash, name, string.format('%.0f', key[name]))
    end
    redis.call('HSET', hash, 'n', 2)
    redis.call('PEXPIRE', hash, math.ceil(math.max(key.k - now, 0) / 1000) + 120000)
  end
end
return new
