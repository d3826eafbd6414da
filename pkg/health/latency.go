package health

func latencyChecks() []Check { return nil }

func latencyLimits() []Limit { return nil }
