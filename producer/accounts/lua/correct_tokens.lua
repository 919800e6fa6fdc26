-- correct_tokens: replace worst cases by what was used; each batch once.
-- KEYS[1]  hash of one key and day, as in take_tokens
-- ARGV     pairs: batch id, tokens it used
-- Returns  the total; nothing where the day is not open
if redis.call('HEXISTS', KEYS[1], 'total') == 0 then return false end
for i = 1, #ARGV, 2 do
  local counted = redis.call('HGET', KEYS[1], ARGV[i])
  if counted then
    local worst = tonumber(string.match(counted, '^%d+'))
    redis.call('HINCRBY', KEYS[1], 'total', tonumber(ARGV[i + 1]) - worst)
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return tonumber(redis.call('HGET', KEYS[1], 'total'))
