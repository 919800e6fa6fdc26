-- Book calls under a key's rate and concurrency, for many callers at once, in their order.
-- KEYS    per provider key: hash {r, t} of the microseconds up to which its requests and its
--         tokens are booked, sorted set of leases (member permit, score when it expires)
-- ARGV[1] microseconds of rate that may go at once  ARGV[2] lease in milliseconds
-- then per call: 1-based key number, max_concurrency (0 none), microseconds a request takes,
-- microseconds its tokens take (0 none), longest wait in microseconds, permit
-- returns per call {1, microseconds to wait before sending} or {0, microseconds until it may fit,
-- 0 where only an ending call makes room}
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local now_ms = math.floor(now / 1000)
local burst, lease_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local keys, answers = {}, {}

local function load(n)
  local booked = redis.call('HMGET', KEYS[2 * n - 1], 'r', 't')
  redis.call('ZREMRANGEBYSCORE', KEYS[2 * n], '-inf', now_ms)
  keys[n] = {
    r = tonumber(booked[1] or '0'), t = tonumber(booked[2] or '0'),
    held = redis.call('ZCARD', KEYS[2 * n]),
  }
  return keys[n]
end

for i = 3, #ARGV, 6 do
  local n, most = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  local key = keys[n] or load(n)
  local r, t = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local wait = 0
  if r > 0 then wait = math.max(wait, key.r - burst - now) end
  if t > 0 then wait = math.max(wait, key.t - burst - now) end
  if most > 0 and key.held >= most then
    answers[#answers + 1] = {0, 0}
  elseif wait > tonumber(ARGV[i + 4]) then
    answers[#answers + 1] = {0, wait}
  else
    if r > 0 then key.r = math.max(key.r, now) + r end
    if t > 0 then key.t = math.max(key.t, now) + t end
    if most > 0 then
      key.held = key.held + 1
      redis.call('ZADD', KEYS[2 * n], now_ms + lease_ms, ARGV[i + 5])
      redis.call('PEXPIRE', KEYS[2 * n], 2 * lease_ms)
    end
    answers[#answers + 1] = {1, wait}
  end
end

for n, key in pairs(keys) do
  local last = math.max(key.r, key.t)
  if last > now then
    redis.call('HSET', KEYS[2 * n - 1], 'r', string.format('%.0f', key.r), 't', string.format('%.0f', key.t))
    redis.call('PEXPIRE', KEYS[2 * n - 1], math.ceil((last - now) / 1000) + 60000)
  end
end
return answers
