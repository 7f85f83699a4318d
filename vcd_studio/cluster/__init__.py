"""Jobs on a cluster that is already there. A relay on the person's machine hands each to the cluster's own scheduler (Slurm, through
submitit) and repeats in the person's queue what the job's worker tells from its node; both meet in a folder that they share."""
