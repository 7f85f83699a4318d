-- Written by the first release's queue, a job in every state; never to be changed.
BEGIN TRANSACTION;
CREATE TABLE attempt (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
                pid INTEGER NOT NULL,
                start TEXT NOT NULL,
                boot TEXT NOT NULL,
                device TEXT NOT NULL,
                started REAL NOT NULL,
                finished REAL,
                outcome TEXT NOT NULL DEFAULT 'running',
                reason TEXT
            );
INSERT INTO "attempt" VALUES(1,1,4242,'99','a boot that is over','cpu',1.79561655042305946348e+09,1.79561655042537879943e+09,'done',NULL);
INSERT INTO "attempt" VALUES(2,2,4242,'99','a boot that is over','cpu',1.79561655042657494548e+09,1.79561655042745471006e+09,'failed','The photo is gone; put it back.');
INSERT INTO "attempt" VALUES(3,3,4242,'99','a boot that is over','cpu',1.79561655042903470995e+09,1.79561655043011045461e+09,'crashed','The worker (pid 4242) ended without a word in stage t2v, step 0 of 2.');
INSERT INTO "attempt" VALUES(4,3,4242,'99','a boot that is over','cpu',1.79561655043083977702e+09,1.79561655043179035189e+09,'crashed','This job ended its worker 2 times, last in stage t2v, step 0 of 2; it was set aside: retry it when the cause is gone.');
INSERT INTO "attempt" VALUES(5,5,4242,'99','a boot that is over','cpu',1.79561655043450260158e+09,1.79561655043619894985e+09,'paused','paused by a person');
INSERT INTO "attempt" VALUES(6,6,4242,'99','a boot that is over','cpu',1.7956165504373059273e+09,NULL,'running',NULL);
CREATE TABLE event (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
                time REAL NOT NULL,
                level TEXT NOT NULL,
                text TEXT NOT NULL
            );
INSERT INTO "event" VALUES(1,2,1.79561655042790317528e+09,'error','The photo is gone; put it back.');
INSERT INTO "event" VALUES(2,3,1.79561655043023633959e+09,'warning','The worker (pid 4242) ended without a word in stage t2v, step 0 of 2.');
INSERT INTO "event" VALUES(3,3,1.79561655043186378481e+09,'error','The worker (pid 4242) ended without a word in stage t2v, step 0 of 2. This job ended its worker 2 times, last in stage t2v, step 0 of 2; it was set aside: retry it when the cause is gone.');
CREATE TABLE job (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                kind TEXT NOT NULL CHECK (kind IN ('segment', 'train', 'generate')),
                project TEXT NOT NULL,
                title TEXT NOT NULL,
                state TEXT NOT NULL DEFAULT 'queued'
                    CHECK (state IN ('queued', 'running', 'paused', 'done', 'failed', 'cancelled', 'set-aside')),
                priority INTEGER NOT NULL DEFAULT 0,
                position INTEGER NOT NULL,
                batch TEXT,
                settings TEXT NOT NULL,
                device TEXT,
                created REAL NOT NULL,
                started REAL,
                finished REAL,
                error TEXT,
                traceback TEXT,
                result TEXT NOT NULL DEFAULT '{}',
                request TEXT CHECK (request IN ('cancel', 'pause')),
                crashes INTEGER NOT NULL DEFAULT 0
            );
INSERT INTO "job" VALUES(1,'train','/film','training','done',0,0,NULL,'{"identity": "rex"}',NULL,1.79561655042219519618e+09,1.79561655042305946348e+09,1.79561655042537879943e+09,NULL,NULL,'{"run": "/film"}',NULL,0);
INSERT INTO "job" VALUES(2,'generate','/film','clip 1','failed',0,1,NULL,'{"seed": 1}',NULL,1.79561655042593383783e+09,1.79561655042657494548e+09,1.79561655042745471006e+09,'The photo is gone; put it back.','Traceback','{}',NULL,0);
INSERT INTO "job" VALUES(3,'generate','/film','clip 2','set-aside',0,-1,NULL,'{"seed": 2}',NULL,1.79561655042843103411e+09,1.79561655042903470995e+09,1.79561655043179035189e+09,'This job ended its worker 2 times, last in stage t2v, step 0 of 2; it was set aside: retry it when the cause is gone.',NULL,'{}',NULL,2);
INSERT INTO "job" VALUES(4,'generate','/film','clip 3','cancelled',0,2,NULL,'{"seed": 3}',NULL,1.79561655043250846868e+09,NULL,1.79561655043324708939e+09,NULL,NULL,'{}',NULL,0);
INSERT INTO "job" VALUES(5,'generate','/film','clip 4','paused',0,3,NULL,'{"seed": 4}',NULL,1.79561655043387961381e+09,1.79561655043450260158e+09,NULL,NULL,NULL,'{}',NULL,0);
INSERT INTO "job" VALUES(6,'generate','/film','clip 5','running',0,4,NULL,'{"seed": 5}',NULL,1.79561655043674421312e+09,1.7956165504373059273e+09,NULL,NULL,NULL,'{}',NULL,0);
INSERT INTO "job" VALUES(7,'generate','/film','clip 6','queued',0,5,NULL,'{"seed": 6}',NULL,1.79561655043869400024e+09,NULL,NULL,NULL,NULL,'{}',NULL,0);
CREATE TABLE stage (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
                name TEXT NOT NULL,
                position INTEGER NOT NULL,
                state TEXT NOT NULL DEFAULT 'queued'
                    CHECK (state IN ('queued', 'running', 'paused', 'done', 'failed', 'cancelled')),
                step INTEGER NOT NULL DEFAULT 0,
                steps INTEGER NOT NULL DEFAULT 0,
                rate REAL,
                ticked REAL,
                started REAL,
                finished REAL,
                message TEXT,
                artefact TEXT,
                preview TEXT,
                UNIQUE (job_id, position)
            );
INSERT INTO "stage" VALUES(1,1,'train',0,'done',6,6,NULL,1.79561655042427110668e+09,1.79561655042391657833e+09,1.79561655042468833924e+09,NULL,'/film',NULL);
INSERT INTO "stage" VALUES(2,2,'t2v',0,'failed',0,2,NULL,NULL,1.79561655042716741565e+09,1.79561655042745471006e+09,NULL,NULL,NULL);
INSERT INTO "stage" VALUES(3,2,'save',1,'queued',0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "stage" VALUES(4,3,'t2v',0,'failed',0,2,NULL,NULL,1.79561655043143773074e+09,1.79561655043179035189e+09,NULL,NULL,NULL);
INSERT INTO "stage" VALUES(5,3,'save',1,'queued',0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "stage" VALUES(6,4,'t2v',0,'cancelled',0,0,NULL,NULL,NULL,1.79561655043324708939e+09,NULL,NULL,NULL);
INSERT INTO "stage" VALUES(7,4,'save',1,'cancelled',0,0,NULL,NULL,NULL,1.79561655043324708939e+09,NULL,NULL,NULL);
INSERT INTO "stage" VALUES(8,5,'t2v',0,'paused',1,2,NULL,1795616550.43546,1.79561655043510270124e+09,NULL,NULL,NULL,NULL);
INSERT INTO "stage" VALUES(9,5,'save',1,'queued',0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "stage" VALUES(10,6,'t2v',0,'running',1,2,NULL,1.79561655043834209445e+09,1.79561655043801879881e+09,NULL,'step 1',NULL,NULL);
INSERT INTO "stage" VALUES(11,6,'save',1,'queued',0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "stage" VALUES(12,7,'t2v',0,'queued',0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "stage" VALUES(13,7,'save',1,'queued',0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE INDEX job_line ON job (state, priority DESC, position, id);
CREATE INDEX attempt_job ON attempt (job_id, id);
CREATE UNIQUE INDEX attempt_open ON attempt (job_id) WHERE outcome = 'running';
CREATE INDEX event_job ON event (job_id, id);
COMMIT;
PRAGMA user_version = 1;
