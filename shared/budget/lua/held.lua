-- held: the records of reservations; prepended to each verb, after fence.

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

local function take(attempt, amount, scopes, cost)
  -- HDEL first: a full server refuses a script's first growing write, never a later one.
  redis.call('HDEL', KEYS[2], attempt)
  for scope in string.gmatch(scopes, '[^,]+') do
    local purse = KEYS[4] .. scope
    if redis.call('HEXISTS', purse, 'spent') == 1 then
      redis.call('HINCRBY', purse, 'reserved', amount == '0' and '0' or '-' .. amount)
      redis.call('HINCRBY', purse, 'spent', cost)
    end
  end
end
