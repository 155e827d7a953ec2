-- Judges and applies the operations of one mutation or transaction, all or none, in one partition.
--
-- KEYS: with an index, its ids and its expiries; then the data key of each operation.
-- ARGV[1]: flags: `i` there is an index, `w` the caller waits for replicas. Then seven for each operation:
--   action        p put, t touch, d delete, c check
--   precondition  n none, a absent, e exists, m matches
--   expected      the stamp that `m` wants
--   stamp         the one this write makes; it begins with the write id
--   ttl, ms       n none, k keep, a after `ms`, @ at `ms`
--   value         what `p` writes
--
-- Answers 1 when applied; else {what, operation (from 1), …}:
--   {"already", op, stamp}      an earlier attempt was applied, under this stamp
--   {"refused", op, entry, …}   its condition does not hold; what is there (or false), then the header of each operation
--   {"ttl", op, "past" or "far"}
--   {"corrupt", op, reason}
--
-- The header of an entry: "ST1", how many replaced stamps (a digit), the expiry (15 digits of epoch milliseconds, 0 for
-- never), the stamp, the replaced stamps with the newest first. The value follows.
--
-- A key may be gone to another node as soon as it is empty, while its slot moves. So everything is read first, and the
-- command that may leave a key empty is the last on it. The first write is the one that is refused when memory is full or the
-- node is a replica; its error is returned as it is, and nothing was written.
local MAGIC, STAMP, FIXED, REMEMBERED, SWEPT = 'ST1', 24, 19, 4, 32
local MAX_MS = 253402300799999
local indexed = string.find(ARGV[1], 'i', 1, true)
local waits = string.find(ARGV[1], 'w', 1, true)
local first = indexed and 2 or 0
local count = #KEYS - first
if count <= 0 then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local heads, lengths, expiries = {}, {}, {}
local refused, bad_ttl
for op = 1, count do
  local at = op * 7 - 5
  local action, precondition, stamp, ttl = ARGV[at], ARGV[at + 1], ARGV[at + 3], ARGV[at + 4]
  local head = redis.pcall('GETRANGE', KEYS[first + op], 0, FIXED + STAMP * (1 + REMEMBERED) - 1)
  if type(head) == 'table' then return head end
  local there = head ~= ''
  if there then
    local replaced = (string.byte(head, 4) or 0) - 48
    local length = FIXED + STAMP * (1 + replaced)
    if string.sub(head, 1, 3) ~= MAGIC or replaced < 0 or replaced > REMEMBERED or #head < length
      or not string.find(string.sub(head, 5, FIXED), '^%d+$') then
      return {'corrupt', op, 'it is not an entry of this format'}
    end
    head = string.sub(head, 1, length)
    lengths[op] = length
    if action == 'p' or action == 't' then
      local own = string.sub(stamp, 1, 16)
      for from = FIXED + 1, length, STAMP do
        if string.sub(head, from, from + 15) == own then
          -- A write that changes nothing, so that waiting for replicas covers the earlier attempt.
          if waits then redis.call('SETRANGE', KEYS[first + op], 0, MAGIC) end
          return {'already', op, string.sub(head, from, from + STAMP - 1)}
        end
      end
    end
  elseif redis.call('EXISTS', KEYS[first + op]) == 1 then
    return {'corrupt', op, 'it is not an entry of this format'}
  end
  heads[op] = head

  local expiry = 0
  if ttl == 'a' then
    expiry = now + tonumber(ARGV[at + 5])
  elseif ttl == '@' then
    expiry = tonumber(ARGV[at + 5])
  elseif ttl == 'k' and there then
    expiry = tonumber(string.sub(head, 5, FIXED))
  end
  if (ttl == 'a' or ttl == '@') and not bad_ttl then
    if expiry <= now then bad_ttl = {'ttl', op, 'past'} end
    if expiry > MAX_MS then bad_ttl = {'ttl', op, 'far'} end
  end
  expiries[op] = expiry

  local holds = true
  if precondition == 'a' then
    holds = not there
  elseif precondition == 'e' then
    holds = there
  elseif precondition == 'm' then
    holds = there and string.sub(head, FIXED + 1, FIXED + STAMP) == ARGV[at + 2]
  end
  if (not holds or action == 't' and not there) and not refused then refused = op end
end
if bad_ttl then return bad_ttl end
if refused then
  local answer = {'refused', refused, redis.call('GET', KEYS[first + refused])}
  for op = 1, count do answer[op + 3] = heads[op] end
  return answer
end

-- What has expired and is to leave the index, but for what is written here.
local added, expiring, gone, lasting = {}, {}, {}, {}
local mine, leaves_index = {}, {}
local base = indexed and #KEYS[1] - 4
local swept = indexed and redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. string.format('%.0f', now), 'LIMIT', 0, SWEPT)

local wrote = false
for op = 1, count do
  local at = op * 7 - 5
  local action, stamp, key, head, expiry = ARGV[at], ARGV[at + 3], KEYS[first + op], heads[op], expiries[op]
  local there = head ~= ''
  local id = indexed and string.sub(key, base + 2)
  local answer
  if action == 'p' or action == 't' then
    local kept = there and string.sub(head, FIXED + 1, FIXED + STAMP * REMEMBERED) or ''
    local value = ARGV[at + 6]
    if action == 't' then value = redis.call('GETRANGE', key, lengths[op], -1) end
    local digits = string.format('%015.0f', expiry)
    value = MAGIC .. #kept / STAMP .. digits .. stamp .. kept .. value
    if expiry > 0 then
      answer = redis.pcall('SET', key, value, 'PXAT', string.format('%.0f', expiry))
    else
      answer = redis.pcall('SET', key, value)
    end
    if indexed then
      mine[id] = true
      if not there then
        added[#added + 1] = 0
        added[#added + 1] = id
      end
      if expiry > 0 then
        expiring[#expiring + 1] = digits
        expiring[#expiring + 1] = id
      elseif not there or tonumber(string.sub(head, 5, FIXED)) > 0 then
        lasting[#lasting + 1] = id
      end
    end
  elseif action == 'd' then
    if there then
      answer = redis.pcall('DEL', key)
      if indexed then
        mine[id] = true
        gone[#gone + 1] = id
      end
    elseif waits then
      -- As above: an earlier attempt may have deleted it, and no replica know of that yet.
      answer = redis.pcall('SET', key, MAGIC)
      if answer.ok then answer = redis.pcall('DEL', key) end
    end
  end
  if type(answer) == 'table' and answer.err then
    if wrote then return {err = 'PARTIAL ' .. answer.err} end
    return answer
  end
  wrote = wrote or answer ~= nil
end
if not indexed then return 1 end

for place = 1, #swept do
  if not mine[swept[place]] then gone[#gone + 1] = swept[place] end
end
if #added > 0 then redis.call('ZADD', KEYS[1], unpack(added)) end
if #expiring > 0 then redis.call('ZADD', KEYS[2], unpack(expiring)) end
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
for place = 1, #gone do lasting[#lasting + 1] = gone[place] end
if #lasting > 0 then redis.call('ZREM', KEYS[2], unpack(lasting)) end

-- An index of which every member expires does so with the last of them: nobody may ever write to the partition again.
if #added + #expiring + #lasting > 0 then
  local members, mortal = redis.pcall('ZCARD', KEYS[1]), redis.pcall('ZCARD', KEYS[2])
  if members ~= 0 and members == mortal then
    local last = redis.pcall('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
    local at = string.format('%.0f', tonumber(last[2]))
    redis.pcall('PEXPIREAT', KEYS[1], at)
    redis.pcall('PEXPIREAT', KEYS[2], at)
  else
    redis.pcall('PERSIST', KEYS[1])
    redis.pcall('PERSIST', KEYS[2])
  end
end
return 1
