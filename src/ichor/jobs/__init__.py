"""Jobs: a queue in a database, the worker that empties it, and the files it leaves; shared by page, node and bulk.

Nothing here knows of the page or its API (:mod:`ichor.serving`).

==================================  ==========================================================================
:mod:`~ichor.jobs.settings`         settings of a worker
:mod:`~ichor.jobs.database`         sessions over SQLite or PostgreSQL, brought to the newest form at start
:mod:`~ichor.jobs.tables`           its tables, those of the page's readers (verdicts, logins) among them
:mod:`~ichor.jobs.migrations`       its forms, one after the other
:mod:`~ichor.jobs.storage`          the state folder: uploads, studies, scratch
:mod:`~ichor.jobs.queue`            jobs, leased to one worker at a time
:mod:`~ichor.jobs.child`            a process that is kept alive
:mod:`~ichor.jobs.supervisor`       starts the worker, and another whenever it ends
:mod:`~ichor.jobs.worker`           the worker's process: takes one job after the other
:mod:`~ichor.jobs.assessment`       what the worker does with one study
:mod:`~ichor.jobs.artifacts`        files that are kept of a study: volume, mask, report, overlays
:mod:`~ichor.jobs.display`          the volume as it is shown: upright, rectangular, evenly spaced
:mod:`~ichor.jobs.volumes`          NIfTI files of which one slice can be read without the others
:mod:`~ichor.jobs.logs`             one JSON object a line, nothing of a patient in it
==================================  ==========================================================================
"""
