-- reserve: decide in order; each request is admitted in all of its scopes or in none.
-- ARGV     triples: attempt id, amount, scopes joined by commas
-- Returns  {""} when closed; otherwise {epoch, reply...}, a reply being 1 | {unopened, scope...}
--          | {wait|exhausted|impossible, scope, limit, spent, reserved} | {reused}
-- Comparisons are exact: limits and amounts stay below 2^53, and rounding keeps order above it.

local state, epoch = fence()
if state ~= 'open' then return {''} end
local now, names = now_ms(), {'wait', 'exhausted', 'impossible'}

local function refusal(amount, scopes)
  local unopened, worst, worst_grade = {'unopened'}, nil, 0
  for scope in string.gmatch(scopes, '[^,]+') do
    local purse = redis.call('HMGET', KEYS[4] .. scope, 'limit', 'spent', 'reserved')
    if not purse[2] then
      unopened[#unopened + 1] = scope
    else
      local limit, spent, reserved = tonumber(purse[1]), tonumber(purse[2]), tonumber(purse[3])
      local short = limit >= 0 and spent + reserved + amount > limit
      local lasting = limit > 0 and amount > limit and 3 or spent + amount > limit and 2
      local grade = short and (lasting or 1) or 0
      if grade > worst_grade then
        worst, worst_grade = {names[grade], scope, purse[1], purse[2], purse[3]}, grade
      end
    end
  end
  return #unopened > 1 and unopened or worst
end

local function decide(attempt, amount, scopes)
  local held, _, _, listed = reservation(attempt)
  local refused = refusal(held and 0 or tonumber(amount), scopes)
  if held then
    -- Half rebuilt: one of its scopes is open again, another is not yet.
    if refused and refused[1] == 'unopened' then return refused end
    return tonumber(held) >= tonumber(amount) and covers(listed, scopes) and 1 or {'reused'}
  end
  if refused then return refused end
  redis.call('HSET', KEYS[2], attempt, amount .. '|' .. now .. '|held|' .. scopes)
  for scope in string.gmatch(scopes, '[^,]+') do
    redis.call('HINCRBY', KEYS[4] .. scope, 'reserved', amount)
    redis.call('PERSIST', KEYS[4] .. scope)
  end
  return 1
end

local replies = {epoch}
for i = 1, #ARGV, 3 do replies[#replies + 1] = decide(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
return replies
