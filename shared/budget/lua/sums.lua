-- sums: what a call adds to the scopes, written once for each; prepended to each verb, after fence.
-- Hundreds of attempts on the same few scopes are one increment of each, and not one for each.

local sums = {}

local function write_sum(scope)
  local purse, sum = KEYS[4] .. scope, sums[scope]
  sums[scope] = nil
  if redis.call('HEXISTS', purse, 'spent') == 0 then return end
  redis.call('HINCRBY', purse, 'reserved', string.format('%.0f', sum.reserved))
  if sum.spent > 0 then redis.call('HINCRBY', purse, 'spent', string.format('%.0f', sum.spent)) end
end

local function add(scope, reserved, spent)
  local sum = sums[scope]
  -- A Lua number is exact below 2^53 only, and a scope without a limit may add up to more.
  if sum and math.max(math.abs(sum.reserved + reserved), sum.spent + spent) >= 2 ^ 53 then
    write_sum(scope)
    sum = nil
  end
  sum = sum or {reserved = 0, spent = 0}
  sums[scope] = sum
  sum.reserved, sum.spent = sum.reserved + reserved, sum.spent + spent
end

local function write_sums()
  local scopes = {}
  for scope in pairs(sums) do scopes[#scopes + 1] = scope end
  for _, scope in ipairs(scopes) do write_sum(scope) end
end
