-- The ids of a partition that have not expired, in order: at most `limit` of those looked at.
--
-- KEYS: the index's ids and its expiries. ARGV: the range, as of ZRANGEBYLEX, and the limit.
-- Answers {the last id looked at if there are more behind it, else false; the ids}.
local ids = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3] + 1)
local more = false
if #ids > tonumber(ARGV[3]) then
  ids[#ids] = nil
  more = ids[#ids]
end
if #ids == 0 then return {false, ids} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expiries = redis.call('ZMSCORE', KEYS[2], unpack(ids))
local live = {}
for place = 1, #ids do
  local expiry = expiries[place]
  if type(expiry) == 'table' then expiry = expiry.double end
  if not expiry or tonumber(expiry) > now then live[#live + 1] = ids[place] end
end
return {more, live}
