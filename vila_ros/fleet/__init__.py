# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The same work over thousands of recordings: on one machine's cores, or on a Ray cluster.

A task is plain JSON: usually one recording, or a time slice of one. What a task makes are files in
a folder of its own, which appears as a whole or not at all, so a run that was killed at any moment
goes on where it was and ends with the same bytes:

    tasks = [Task(task_id(number, path.name), {"bag": str(path)}) for number, path in …]
    with OutputFolder(out, "vila export", parameters) as output:
        for result in run_tasks(tasks, "vila_ros.datasets.bag:export", output.ledger, workers=4):
            …  # in the order of the tasks, whatever the order in which they were done

`vila_ros.datasets.bag.export(task, folder)` writes its files into `folder` and returns JSON.
"""
