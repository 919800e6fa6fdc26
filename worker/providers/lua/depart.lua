-- Let calls leave whose turn has come, at their key's rate: who comes late joins the end.
-- KEYS    per provider key: hash of its rate (fields: `worker.providers.rate_lines`)
-- ARGV[1] microseconds of rate that may go at once, then per call: 1-based key number, microseconds
-- that its request takes, that its tokens take, that all tokens take that it asks for (0 none), 1
-- where nothing is given back, how long before its turn it may ask
-- returns per call {the microseconds to wait before sending, or a negative number where it must ask
-- again, once a call has ended or when so many microseconds are over; 1 where nothing is given back;
-- microseconds of all that calls asked for until now, and of what they asked for and did not use}
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local burst, keys, waits = tonumber(ARGV[1]), {}, {}
local NAMES = {'R', 'T', 'D', 'd', 'k', 'a', 'b', 'm', 'at', 'h', 'w', 'p', 'n', 'q', 'u', 'x', 'y', 'A', 'B'}

for i = 2, #ARGV, 6 do
  local number, r, t = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local asked, kept = tonumber(ARGV[i + 3]), ARGV[i + 4] == '1'
  local key = keys[number]
  if not key then
    local stored = redis.call('HMGET', KEYS[number], unpack(NAMES))
    key = {}
    for j, name in ipairs(NAMES) do key[name] = tonumber(stored[j] or '0') end
    if key.b == 0 then key.b = 1000000 end
    key.slow = 1 + margin(key, now) / 1000000
    if key.at == 0 then key.at = now end -- a provider may count by the second: no burst at first
    key.burst = at_once(key, now, burst)
    keys[number] = key
  end
  if key.k > now then t, kept = asked, true end
  local owed = (kept or asked == 0) and 0 or key.D - key.b - now
  local wait = math.max(0, key.p - now, key.q - now)
  if r > 0 then wait = math.max(wait, key.R - key.burst - now) end
  if t > 0 then wait = math.max(wait, key.T - key.burst - now) end
  if owed > 0 or wait > tonumber(ARGV[i + 5]) then
    waits[#waits + 1] = {-math.ceil(math.max(owed, wait)), 0, 0, 0}
  else
    if r > 0 then key.R = math.max(key.R, now) + r * key.slow end
    if t > 0 then
      key.T = math.max(key.T, now) + t * key.slow
      key.d = key.d - asked
      if not kept then key.D = math.max(key.D, now) + asked end
      key.a, key.A = math.max(key.a, now) + asked, key.A + asked
    end
    key.x, key.y = key.x + 1, key.y + math.max(r, t)
    -- What is late is made up for in small steps: a provider may count by the second.
    key.q = now + wait + math.min(100000, 0.8 * math.max(r, t))
    -- After a pause the first one goes by itself: should it be refused, no crowd is.
    if key.n > 0 then
      key.n = 0
      key.p = now + wait + 250000
      key.R, key.T = math.max(key.R, key.p), math.max(key.T, key.p)
    end
    local all, spared = string.format('%.0f', key.A), string.format('%.0f', key.B)
    waits[#waits + 1] = {math.floor(wait), kept and 1 or 0, all, spared}
  end
end

for number, key in pairs(keys) do
  local changed = {'n', key.n}
  for _, name in ipairs({'R', 'T', 'D', 'd', 'a', 'p', 'q', 'x', 'y', 'at', 'A'}) do
    changed[#changed + 1] = name
    changed[#changed + 1] = string.format('%.0f', key[name])
  end
  redis.call('HSET', KEYS[number], unpack(changed))
  local last = math.max(key.R, key.T, key.D, key.p)
  if redis.call('PTTL', KEYS[number]) < (last - now) / 1000 + 1000 then
    redis.call('PEXPIRE', KEYS[number], math.ceil(math.max(0, last - now) / 1000) + 60000)
  end
end
return waits
