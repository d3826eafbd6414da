package health

func spaceChecks() []Check { return nil }

func spaceLimits() []Limit { return nil }
