"""What a speed, a memory or a number depends on besides the code: machine, versions, workload."""
