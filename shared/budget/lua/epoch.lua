-- epoch: under which epoch are the counters valid?
-- Returns  the epoch, or an empty string when the ledger is closed

local state, epoch = fence()
return state == 'open' and epoch or ''
