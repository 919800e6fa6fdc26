-- purses: what the scopes of a reservation still carry; prepended to each verb, after sums.

local grades = {'wait', 'exhausted', 'impossible'}

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
        worst, worst_grade = {grades[grade], scope, purse[1], purse[2], purse[3]}, grade
      end
    end
  end
  return #unopened > 1 and unopened or worst
end

-- The counters as they were read and have grown since, so that a call reads each scope once.
local purses = {}

local function fits(amount, scopes)
  for scope in string.gmatch(scopes, '[^,]+') do
    local purse = purses[scope]
    if not purse then
      write_sums() -- should the reading fail, what was listed is counted
      local read = redis.call('HMGET', KEYS[4] .. scope, 'limit', 'spent', 'reserved')
      if not read[2] then return false end
      purse = {limit = tonumber(read[1]), taken = tonumber(read[2]) + tonumber(read[3])}
      purses[scope] = purse
    end
    if purse.limit >= 0 and purse.taken + amount > purse.limit then return false end
  end
  return true
end

local function put_in(amount, scopes)
  for scope in string.gmatch(scopes, '[^,]+') do
    local purse = purses[scope]
    purse.taken = purse.taken + amount
    add(scope, amount, 0)
    if not purse.is_kept then redis.call('PERSIST', KEYS[4] .. scope) end
    purse.is_kept = true
  end
end
