-- reserve: decide in order; each request is admitted in all of its scopes or in none.
-- ARGV     triples: attempt id, amount, scopes joined by commas
-- Returns  {""} when closed; otherwise {epoch, reply...}, a reply being 1 | {unopened, scope...}
--          | {wait|exhausted|impossible, scope, limit, spent, reserved} | {reused}
-- Comparisons are exact: limits and amounts stay below 2^53, and rounding keeps order above it.

local state, epoch = fence()
if state ~= 'open' then return {''} end
local now = now_ms()

local function again(held, listed, amount, scopes)
  local refused = refusal(0, scopes)
  -- Half rebuilt: one of its scopes is open again, another is not yet.
  if refused and refused[1] == 'unopened' then return refused end
  return tonumber(held) >= tonumber(amount) and covers(listed, scopes) and 1 or {'reused'}
end

local function decide(attempt, amount, scopes)
  local held, _, _, listed = reservation(attempt)
  if held then return again(held, listed, amount, scopes) end
  if not fits(tonumber(amount), scopes) then
    write_sums()
    return refusal(tonumber(amount), scopes)
  end
  -- First, for a full server refuses a script's first growing write, never a later one.
  redis.call('HSET', KEYS[2], attempt, amount .. '|' .. now .. '|held|' .. scopes)
  put_in(tonumber(amount), scopes)
  return 1
end

local replies = {epoch}
for i = 1, #ARGV, 3 do replies[#replies + 1] = decide(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
write_sums()
return replies
