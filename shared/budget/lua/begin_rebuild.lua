-- begin_rebuild: close the ledger, drop every counter, and let one caller open scopes anew.
-- ARGV[1]  token;  ARGV[2] age in ms at which another's rebuild counts as abandoned
-- Returns  begun | busy (another rebuilds) | open (nothing to rebuild)
--          | evicting (this server may drop keys when full: no place for a ledger)

local memory = redis.call('INFO', 'memory')
local maxmemory = string.match(memory, 'maxmemory:(%d+)')
if maxmemory ~= '0' and string.find(memory, 'maxmemory_policy:allkeys', 1, true) then
  return 'evicting'
end
local identity = server_identity()
if not identity then return redis.error_reply('ERR INFO tells no run_id and master_replid') end

local state, name, since = fence()
local now = now_ms()
if state == 'open' then return 'open' end
if state and name == ARGV[1] then return 'begun' end
if state and tonumber(now) - since < tonumber(ARGV[2]) then return 'busy' end

for _, scope in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  redis.call('UNLINK', KEYS[4] .. scope)
end
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('SET', KEYS[1], 'rebuilding|' .. identity .. '|' .. ARGV[1] .. '|' .. now)
return 'begun'
