-- settle: turn reservations into what the attempts cost.
-- ARGV     pairs: attempt id, cost (may exceed the reservation: the truth is charged)
-- Returns  1 per attempt, or 0 where no reservation is held or the counters are not this server's
-- Runs during a rebuild too: a reservation that was rebuilt is counted where it is listed.

local trusted = fence()
local replies = {}
for i = 1, #ARGV, 2 do
  local amount, scopes, _
  if trusted then amount, _, _, scopes = reservation(ARGV[i]) end
  if amount then take(ARGV[i], amount, scopes, ARGV[i + 1]) end
  replies[#replies + 1] = amount and 1 or 0
end
write_sums()
return replies
