"""What is asked of plugins: functions that fail where a plugin breaks the contract."""
