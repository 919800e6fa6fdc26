-- A provider refused calls for coming too fast: pause, go slower, and learn how it counts.
-- KEYS    per provider key: hash of its rate (fields: `worker.providers.rate_lines`)
-- ARGV    per call: 1-based key number, microseconds it was told to wait (0 nothing), microseconds
--         all tokens take that it asked for (0 where it was not refused for tokens)
-- returns the number of calls that told something new: those that left before the pause do not
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local NAMES = {'m', 'at', 'p', 'e', 's', 'l', 'h', 'b', 'D', 'k', 'kn', 'a', 'c', 'R', 'T', 'u', 'n', 'o', 'g', 'w', 'x', 'y', 'j'}
local SHORT, BURST, OFF_THE_BOTTOM = 400000, 200000, 300000
local new = 0

-- Where nothing is given back, refusals come at the same height of what was asked for. Three of them
-- in a row, or a long wait: it is so. Otherwise that height goes on rising.
local function gives_nothing_back(key, told, asked, again)
  local height = key.a - now
  again = again and height <= key.c + math.max(500000, key.c / 10)
  key.s = again and key.s + 1 or 1
  if not again then
    key.c = height
    if height > 50000000 and height < 80000000 then key.s = 2 end -- a minute's worth
  end
  if key.s < 3 and told < 2000000 + asked then return false end
  key.kn = math.min(3600000000, math.max(300000000, 2 * key.kn))
  key.k, key.m, key.s, key.h = now + key.kn, 0, 0, 0
  key.w, key.j = SOON, 0
  return true
end

-- Whether too much was out at once beyond what calls take; then they are not too many.
local function held_too_much(key)
  local out = key.D - now
  if key.b == 0 then key.b = 1000000 end
  local is_near = out > 0.5 * key.b
  key.o = math.max(250000, out)
  key.b = math.max(250000, 0.94 * math.min(key.b, key.o))
  key.g = now + 1000000
  return is_near
end

-- How much slower it goes from now on. Where it was refused at the level of the time before, the level
-- is known, and is tried again only after twice the time. Refused soon again it goes slower by ever
-- more; from the third time on at least halfway to the pace at which calls were let in since the last.
-- Where but the first after a pause was refused, a window was empty: that says nothing of the pace.
local function slow_down(key, again, is_empty, is_soon, is_for_tokens)
  local before, burst = margin(key, now), at_once(key, now, BURST)
  if is_for_tokens then
    key.h = again and math.min(80000, math.max(10000, 2 * key.h)) or 10000
    key.w, key.m, key.u = 4 * SOON, math.min(9000000, before + key.h), burst / 2
    return before
  end
  if is_empty then
    key.m = before
  elseif is_soon then
    key.j = key.j + 1
    local let_in = key.y > 0 and (now - key.at) / key.y - 1 or 0
    local halfway = key.j > 1 and key.k <= now and math.min(2, let_in) * 500000 - before / 2 or 0
    key.h = math.max(10000, halfway, burst < 20000 and math.min(80000, 2 * key.h) or 0)
  else
    local is_known = key.m > 0 and math.abs(before - math.max(LEAST, key.m - key.h)) < 10000
    key.h, key.j = 10000, 0
    key.w = is_known and math.min(120000000, 2 * math.max(SOON, key.w))
      or before < 2 * LEAST and 4 * SOON or SOON
  end
  if not is_empty then key.m = math.min(9000000, before + key.h) end
  key.u = burst / 4
  return before
end

for i = 1, #ARGV, 3 do
  local hash, told, asked = KEYS[tonumber(ARGV[i])], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local key, stored = {}, redis.call('HMGET', hash, unpack(NAMES))
  for j, name in ipairs(NAMES) do key[name] = tonumber(stored[j] or '0') end
  key.a = key.a - asked
  redis.call('HSET', hash, 'a', string.format('%.0f', key.a))
  if now >= key.e then
    new = new + 1
    local is_for_tokens, again = asked > 0 and key.k <= now, now - key.e < 3000000
    local is_short = told > 0 and told <= SHORT
    local is_empty = again and key.x <= 1 and not is_short
    local before = slow_down(key, again, is_empty, now - key.e < SOON, is_for_tokens)
    local is_found = is_for_tokens and gives_nothing_back(key, told, asked, again)
    -- Where it may be so, a short wait would let a crowd be refused in each of the rounds.
    if is_found or is_for_tokens and key.s > 1 then is_short = false end
    -- Of tokens many calls under way may have asked for too many: they need time to give back.
    local is_longer = is_empty or again and asked > 0
    key.l = is_longer and math.min(8000000, 3 * key.l) or 250000
    local pause = is_short and told
      or math.max(100000, math.min(told, 2000000), (is_longer or told == 0) and key.l or 0)
    if is_found and told > 0 then
      -- Hardly anything is left there: it gets a little ahead, or every call would be refused that
      -- comes a moment early.
      pause = math.max(OFF_THE_BOTTOM, math.min(told, 2000000))
    elseif is_for_tokens and not is_found and held_too_much(key) then
      key.m = before
    end
    key.x, key.y, key.at = 0, 0, now
    key.p, key.e = math.max(key.p, now + pause), now + math.max(pause, 100000)
    if not is_short then
      key.n = (again or asked > 0 or told == 0 or told > 2000000) and 1 or 0
      key.R, key.T = math.max(key.R, key.p + 200000), math.max(key.T, key.p + 200000)
    end
    local changed = {}
    for _, name in ipairs(NAMES) do
      changed[#changed + 1] = name
      changed[#changed + 1] = string.format('%.0f', key[name])
    end
    redis.call('HSET', hash, unpack(changed))
    redis.call('PEXPIRE', hash, math.ceil(math.max(key.k - now, 0) / 1000) + 120000)
  end
end
return new
