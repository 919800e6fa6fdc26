-- Replace one key's health if nobody changed it meanwhile (compare and set).
-- KEYS[1] hash of all keys' health
-- ARGV[1] key id  ARGV[2] value it was read as ("" for absent)
-- ARGV[3] new value ("" deletes)
-- returns 1 if replaced, 0 if it had changed
local current = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if current ~= ARGV[2] then
  return 0
end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1
