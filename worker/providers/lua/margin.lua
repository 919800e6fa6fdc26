-- How much slower than its limit a key goes, in millionths, and how many microseconds of its rate may
-- go at once; stands before the verbs that need it. A refusal makes both worse. That fades: hardly at
-- first, back to where the refusal came when the time `w` is over, and ever faster from there on.
-- A minute then never holds more than a minute's worth, whoever is a little late, nor a second.
local LEAST = 12000
local SOON = 10000000

local function margin(key, now)
  local quiet = math.max(0, now - key.at) / math.max(SOON, key.w)
  return math.max(LEAST, key.m - key.h * quiet ^ 6)
end

local function at_once(key, now, most)
  local quiet = math.max(0, now - key.at) / (4 * math.max(SOON, key.w))
  return math.min(most, key.u + most * quiet ^ 2)
end
