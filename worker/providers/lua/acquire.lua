-- Book calls under a key's rate and concurrency, for many callers at once, in their order.
-- KEYS    per provider key: hash of its rate (fields: `worker.providers.rate_lines`), sorted set of
--         leases (member permit, score when it expires)
-- ARGV[1] microseconds of rate that may go at once  ARGV[2] lease in milliseconds
-- then per call: 1-based key number, max_concurrency (0 none), microseconds that a request takes,
-- that its tokens will take, that all tokens take that it asks for (0 none), longest wait in
-- microseconds (negative: book nothing, say when to come back), permit
-- returns per call {1, microseconds to wait, 1 where nothing is given back} or
-- {0, microseconds until it may fit, 1 where ending calls make room}
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local now_ms = math.floor(now / 1000)
local burst, lease_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local NAMES = {'r', 't', 'd', 'b', 'g', 'm', 'at', 'h', 'w', 'k', 'R', 'T', 'D', 'f', 'o'}
local keys, answers = {}, {}

local function load(n)
  local key, stored = {}, redis.call('HMGET', KEYS[2 * n - 1], unpack(NAMES))
  for i, name in ipairs(NAMES) do key[name] = tonumber(stored[i] or '0') end
  if key.b == 0 then key.b = 1000000 end
  key.slow = 1 + margin(key, now) / 1000000
  redis.call('ZREMRANGEBYSCORE', KEYS[2 * n], '-inf', now_ms)
  key.held = redis.call('ZCARD', KEYS[2 * n])
  keys[n] = key
  return key
end

-- What calls may have out at once beyond what they will take doubles each second it is asked for;
-- once refused, it goes back to shortly under that height, and on from there by little.
local function grow(key)
  if now < key.g then return end
  if key.b > 1.2 * key.o then key.o = 0 end
  if key.g > 0 then key.b = math.min(60000000, key.b * (key.o > 0 and 1.04 or 2)) end
  key.g = now + ((key.o == 0 or key.b < 0.97 * key.o) and 1000000 or 10000000)
end

for i = 3, #ARGV, 7 do
  local n, most = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  local key = keys[n] or load(n)
  local r, t, asked = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
  local longest, kept = tonumber(ARGV[i + 5]), key.k > now
  if kept then t, asked = asked, 0 end
  local wait, late = 0, math.max(key.R, key.T) - 700000 - now
  if r > 0 then wait = math.max(wait, key.r - burst - now) end
  if t > 0 then wait = math.max(wait, key.t - burst - now) end
  local owed = asked > 0 and math.max(0, key.d - now) + key.D - key.b - now or 0
  if owed > 0 then grow(key) end
  if longest < 0 then
    key.f = math.max(key.f, now + 5000000) + 0.85 * math.max(1, key.slow / 2) * math.max(r, t)
    answers[#answers + 1] = {0, math.floor(key.f - now), 0}
  elseif most > 0 and key.held >= most then
    answers[#answers + 1] = {0, 0, 1}
  elseif owed > 0 or late > 0 or wait > longest then
    answers[#answers + 1] = {0, math.floor(math.max(wait, owed, late)), owed > 0 and 1 or 0}
  else
    if math.max(key.r, key.t) <= now then key.f = 0 end
    if r > 0 then key.r = math.max(key.r, now) + r * key.slow end
    if t > 0 then key.t = math.max(key.t, now) + t * key.slow end
    if asked > 0 then key.d = math.max(key.d, now) + asked end
    if most > 0 then
      key.held = key.held + 1
      redis.call('ZADD', KEYS[2 * n], now_ms + lease_ms, ARGV[i + 6])
      redis.call('PEXPIRE', KEYS[2 * n], 2 * lease_ms)
    end
    answers[#answers + 1] = {1, math.floor(wait), kept and 1 or 0}
  end
end

for n, key in pairs(keys) do
  local last = math.max(key.r, key.t, key.d)
  if last > now then
    local changed = {}
    for _, name in ipairs({'r', 't', 'd', 'b', 'g', 'f', 'o'}) do
      changed[#changed + 1] = name
      changed[#changed + 1] = string.format('%.0f', key[name])
    end
    redis.call('HSET', KEYS[2 * n - 1], unpack(changed))
    redis.call('PEXPIRE', KEYS[2 * n - 1], math.ceil((math.max(last, key.k) - now) / 1000) + 60000)
  end
end
return answers
