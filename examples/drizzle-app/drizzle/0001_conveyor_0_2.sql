ALTER TABLE "conveyor_jobs" ADD COLUMN "started_lease" integer;--> statement-breakpoint
ALTER TABLE "conveyor_jobs" ADD COLUMN "started_alone" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "conveyor_schedules" ADD COLUMN "ended_at" timestamp with time zone;--> statement-breakpoint
CREATE INDEX "conveyor_jobs_schedule_live_idx" ON "conveyor_jobs" USING btree ("queue_name","schedule_key") WHERE schedule_key is not null and state not in ('completed', 'failed');--> statement-breakpoint
CREATE INDEX "conveyor_schedules_ended_idx" ON "conveyor_schedules" USING btree ("ended_at") WHERE tick_at is null;
