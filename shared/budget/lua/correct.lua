-- correct: replace a scope's spent amount, if nothing moved since it was looked at.
-- ARGV[1]  scope;  ARGV[2] spent as seen;  ARGV[3] reserved as seen;  ARGV[4] spent as it should be
-- Returns  1 or 0

local state = fence()
local purse = KEYS[4] .. ARGV[1]
local seen = redis.call('HMGET', purse, 'spent', 'reserved')
if state ~= 'open' or seen[1] ~= ARGV[2] or seen[2] ~= ARGV[3] then return 0 end
redis.call('HSET', purse, 'spent', ARGV[4])
return 1
