ALTER TABLE "conveyor_jobs" ADD COLUMN "started_lease" integer;--> statement-breakpoint
ALTER TABLE "conveyor_jobs" ADD COLUMN "started_alone" boolean DEFAULT false NOT NULL;