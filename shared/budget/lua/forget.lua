-- forget: let an unused scope lapse; a reservation on it before then keeps it.
-- ARGV[1]  scope;  ARGV[2] how long in ms it lingers
-- Returns  1 when it lapses or is gone, 0 while something is reserved on it
-- It lingers so that whoever read the database before it was used cannot open it with old figures.

local purse = KEYS[4] .. ARGV[1]
local reserved = redis.call('HGET', purse, 'reserved')
if reserved and reserved ~= '0' then return 0 end
if redis.call('EXISTS', purse) == 0 then
  redis.call('SREM', KEYS[3], ARGV[1])
elseif redis.call('PTTL', purse) < 0 then
  redis.call('PEXPIRE', purse, ARGV[2])
end
return 1
