-- take_tokens: count a batch's worst case against a key's day, if it fits.
-- KEYS[1]  hash of one key and day: total; a batch's id -> "tokens|unix second" until it is corrected
-- ARGV     batch id, tokens, limit, unix second, seconds to keep
-- Returns  {"unopened"} | {"taken", total} | {"refused", total}
local total = tonumber(redis.call('HGET', KEYS[1], 'total'))
if not total then return {'unopened'} end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return {'taken', total} end
if total + tonumber(ARGV[2]) > tonumber(ARGV[3]) then return {'refused', total} end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. '|' .. ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return {'taken', redis.call('HINCRBY', KEYS[1], 'total', ARGV[2])}
