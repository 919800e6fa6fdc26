-- open: create a scope's counters from what the database knew under this epoch.
-- ARGV[1]  epoch or rebuild token;  ARGV[2] scope;  ARGV[3] limit or -1;  ARGV[4] spent
-- ARGV[5..] pairs of its open reservations: attempt id, amount
-- Returns  opened | already_open | fenced

local state, name = fence()
if not state or name ~= ARGV[1] then return 'fenced' end
local scope, purse = ARGV[2], KEYS[4] .. ARGV[2]
if redis.call('HEXISTS', purse, 'spent') == 1 then return 'already_open' end

-- A limit that stands here without counters was set after the database was read, or may have been.
local limit = redis.call('HGET', purse, 'limit') or ARGV[3]
redis.call('HSET', purse, 'limit', limit, 'spent', ARGV[4], 'reserved', '0')
redis.call('PERSIST', purse)
redis.call('SADD', KEYS[3], scope)

local now = now_ms()
for i = 5, #ARGV, 2 do
  -- Another scope may have brought this reservation already; it is one, listed in both.
  local amount, since, phase, scopes = reservation(ARGV[i])
  if not amount then
    amount, since, phase, scopes = ARGV[i + 1], now, 'confirmed', scope
  elseif not covers(scopes, scope) then
    scopes = scopes .. ',' .. scope
  end
  redis.call('HSET', KEYS[2], ARGV[i], table.concat({amount, since, phase, scopes}, '|'))
  redis.call('HINCRBY', purse, 'reserved', amount)
end
return 'opened'
