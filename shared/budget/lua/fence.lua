-- fence: the keys of every verb, and whether their counters are this server's; prepended to each.
-- KEYS[1] epoch         "state|server|name|since_ms"; state is open or rebuilding
-- KEYS[2] reservations  hash: attempt id -> "amount|since_ms|held or confirmed|scope,scope"
-- KEYS[3] index         set of the scopes that have a hash
-- KEYS[4] prefix        the scope hashes {limit, spent, reserved} are prefix .. scope
-- Amounts travel as decimal strings: a Lua number turned to text would lose digits.

local function server_identity()
  -- The replication id changes with every promotion: a primary that lost its place and got it
  -- back kept its run id, but perhaps not its last writes.
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local line = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  return run and line and (run .. ':' .. line)
end

local function fence()
  -- state, name and since_ms of the epoch, or nothing when these counters are another server's.
  local record = redis.call('GET', KEYS[1])
  if not record then return nil end
  local state, server, name, since = string.match(record, '^(%a+)|([^|]+)|([^|]+)|(%d+)$')
  if server ~= server_identity() then return nil end
  return state, name, tonumber(since)
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] .. string.format('%03d', math.floor(tonumber(time[2]) / 1000))
end
