-- How much slower than its limit a key goes, in millionths; stands before the verbs that need it.
-- A refusal adds to it. That fades: slowly at first, so that a limit which is lower than configured
-- is not run into all the time, and ever faster while nothing is refused.
local LEAST = 7000 -- a minute then never holds more than a minute's worth, whoever is a little late

local function margin(key, now)
  local quiet = math.max(0, now - key.at) / 1000000
  return math.max(LEAST, key.m - 500 * quiet * (1 + (quiet / 40) ^ 2))
end
