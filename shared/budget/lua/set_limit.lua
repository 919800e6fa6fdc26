-- set_limit: change what a scope may spend.
-- ARGV[1]  scope;  ARGV[2] limit or -1;  ARGV[3] how long in ms a note is kept
-- Returns  1 when the scope is open; 0 when a note is left for whoever opens it soon, who may have
--          read the old limit already

local purse = KEYS[4] .. ARGV[1]
redis.call('HSET', purse, 'limit', ARGV[2])
if redis.call('HEXISTS', purse, 'spent') == 1 then return 1 end
redis.call('PEXPIRE', purse, ARGV[3])
redis.call('SADD', KEYS[3], ARGV[1])
return 0
