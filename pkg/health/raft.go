package health

func raftChecks() []Check { return nil }

func raftLimits() []Limit { return nil }
