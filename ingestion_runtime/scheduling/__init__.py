"""What schedulers have to know of an ingestion: plans, and DAG files for Airflow. Nothing here runs anything."""
