-- Post hook bodies from a file, one a line, in turn, from a given line on or from any.
local requests = {}
local at = 0

function init(args)
    local headers = { ["Content-Type"] = "application/json" }
    if args[2] == "close" then headers["Connection"] = "close" end
    for line in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format("POST", nil, headers, line)
    end
    math.randomseed(os.time())
    at = tonumber(args[3]) or math.random(#requests)
end

function request()
    at = at % #requests + 1
    return requests[at]
end
