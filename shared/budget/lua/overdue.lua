-- overdue: one page of the reservations that have been held for long.
-- ARGV[1]  cursor;  ARGV[2] least age in ms;  ARGV[3] page size
-- Returns  {next cursor, attempt id, record, attempt id, record, ...}; nothing when closed

local state = fence()
if state ~= 'open' then return {'0'} end
local now = tonumber(now_ms())
local page = redis.call('HSCAN', KEYS[2], ARGV[1], 'COUNT', ARGV[3])
local replies = {page[1]}
for i = 1, #page[2], 2 do
  local since = string.match(page[2][i + 1], '^%d+|(%d+)|')
  if now - tonumber(since) >= tonumber(ARGV[2]) then
    replies[#replies + 1] = page[2][i]
    replies[#replies + 1] = page[2][i + 1]
  end
end
return replies
