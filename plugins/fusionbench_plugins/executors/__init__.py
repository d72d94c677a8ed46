"""Built-in executors, one file each: who does the work of a run where it is not the process that was started."""
