-- confirm: mark reservations as about to be spent, if they are still held under this epoch.
-- ARGV[1]  epoch of the reservation;  ARGV[2..] attempt ids
-- Returns  1 or 0 per attempt; a confirmed reservation can no longer be reclaimed

local state, epoch = fence()
local current = state == 'open' and epoch == ARGV[1]
local replies = {}
for i = 2, #ARGV do
  local amount, since, _, scopes
  if current then amount, since, _, scopes = reservation(ARGV[i]) end
  if amount then
    redis.call('HSET', KEYS[2], ARGV[i], amount .. '|' .. since .. '|confirmed|' .. scopes)
  end
  replies[#replies + 1] = amount and 1 or 0
end
return replies
