-- finish_rebuild: open the ledger under a new epoch.
-- ARGV[1]  token of the rebuild;  ARGV[2] the new epoch
-- Returns  1, or 0 when the rebuild was lost or taken over; the same call repeated says 1 again

local state, name = fence()
if state == 'open' and name == ARGV[2] then return 1 end
if state ~= 'rebuilding' or name ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'open|' .. server_identity() .. '|' .. ARGV[2] .. '|' .. now_ms())
return 1
