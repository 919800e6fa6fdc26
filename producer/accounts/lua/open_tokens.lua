-- open_tokens: begin a key's day with what the database knows of it, unless it is open.
-- KEYS[1]  hash of one key and day, as in take_tokens
-- ARGV     total, seconds to keep, then pairs: id of a batch that has not ended, "tokens|unix second"
if redis.call('HSETNX', KEYS[1], 'total', ARGV[1]) == 0 then return 0 end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
