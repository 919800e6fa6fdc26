-- release: give reservations back, nothing spent.
-- ARGV[1]  "any", or "held" to spare those that were confirmed;  ARGV[2..] attempt ids
-- Returns  1 per attempt released, otherwise 0

local trusted = fence()
local replies = {}
for i = 2, #ARGV do
  local amount, phase, scopes, _
  if trusted then amount, _, phase, scopes = reservation(ARGV[i]) end
  local free = amount and (ARGV[1] == 'any' or phase == ARGV[1])
  if free then take(ARGV[i], amount, scopes, '0') end
  replies[#replies + 1] = free and 1 or 0
end
write_sums()
return replies
