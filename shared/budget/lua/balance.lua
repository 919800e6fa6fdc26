-- balance: the counters of scopes, read at one moment.
-- ARGV     scopes
-- Returns  {limit or -1, spent, reserved} per scope; {} where it is not open or the ledger closed

local state = fence()
local replies = {}
for i = 1, #ARGV do
  local purse = redis.call('HMGET', KEYS[4] .. ARGV[i], 'limit', 'spent', 'reserved')
  replies[i] = state == 'open' and purse[2] and purse or {}
end
return replies
