-- held: the records of reservations; prepended to each verb, after sums.

local function reservation(attempt)
  local record = redis.call('HGET', KEYS[2], attempt)
  if not record then return nil end
  return string.match(record, '^(%d+)|(%d+)|(%a+)|(.*)$')
end

local function covers(listed, scopes)
  for scope in string.gmatch(scopes, '[^,]+') do
    if not string.find(',' .. listed .. ',', ',' .. scope .. ',', 1, true) then return false end
  end
  return true
end

-- The verb calls `write_sums` when it has taken all.
local function take(attempt, amount, scopes, cost)
  -- HDEL first: a full server refuses a script's first growing write, never a later one.
  redis.call('HDEL', KEYS[2], attempt)
  for scope in string.gmatch(scopes, '[^,]+') do
    add(scope, 0 - tonumber(amount), tonumber(cost))
  end
end
