-- Written by the first release's queue; never to be changed.
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
INSERT INTO "attempt" VALUES(1,1,4242,'99','boot-1','cpu',1.79523974206238961224e+09,1.79523974207844686512e+09,'done',NULL);
INSERT INTO "attempt" VALUES(2,2,4242,'99','boot-1','cpu',1.79523974208638954167e+09,NULL,'running',NULL);
CREATE TABLE event (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
                time REAL NOT NULL,
                level TEXT NOT NULL,
                text TEXT NOT NULL
            );
INSERT INTO "event" VALUES(1,2,1.79523974211041617392e+09,'info','begins');
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
INSERT INTO "job" VALUES(1,'segment','/films/park','masks of rex','done',0,0,NULL,'{"identity": "rex", "photos": ["01.png"]}',NULL,1.7952397420588788986e+09,1.79523974206238961224e+09,1.79523974207844686512e+09,NULL,NULL,'{"masks": 1}',NULL,0);
INSERT INTO "job" VALUES(2,'generate','/films/park','a <rex> dog · seed 1','running',0,1,'b1','{"seed": 1}',NULL,1.7952397420825207233e+09,1.79523974208638954167e+09,NULL,NULL,NULL,'{"clip": "/films/park/outputs/a-rex-dog"}',NULL,0);
INSERT INTO "job" VALUES(3,'generate','/films/park','a <rex> dog · seed 2','queued',0,2,'b1','{"seed": 2}',NULL,1.79523974208279633521e+09,NULL,NULL,NULL,NULL,'{}',NULL,0);
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
INSERT INTO "stage" VALUES(1,1,'segment',0,'done',1,1,NULL,NULL,1.79523974206666707994e+09,1.79523974207042026521e+09,NULL,'/films/park/identities/rex/masks',NULL);
INSERT INTO "stage" VALUES(2,2,'t2v',0,'done',25,25,NULL,NULL,1.79523974209450316429e+09,1.79523974209840750694e+09,NULL,'/films/park/outputs/a-rex-dog/stages/t2v',NULL);
INSERT INTO "stage" VALUES(3,2,'face',1,'running',3,20,NULL,1.79523974210640597341e+09,1.79523974210247731211e+09,NULL,'step 3 of 20',NULL,NULL);
INSERT INTO "stage" VALUES(4,2,'tiled',2,'queued',0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "stage" VALUES(5,2,'save',3,'queued',0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "stage" VALUES(6,3,'t2v',0,'queued',0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "stage" VALUES(7,3,'face',1,'queued',0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "stage" VALUES(8,3,'tiled',2,'queued',0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "stage" VALUES(9,3,'save',3,'queued',0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE INDEX job_line ON job (state, priority DESC, position, id);
CREATE INDEX attempt_job ON attempt (job_id, id);
CREATE UNIQUE INDEX attempt_open ON attempt (job_id) WHERE outcome = 'running';
CREATE INDEX event_job ON event (job_id, id);
COMMIT;
PRAGMA user_version = 1;
