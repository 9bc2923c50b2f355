/** Who does something in a history: it tells, asks through the API, and draws. */
import type { Course } from './course.ts';
import type { Draw } from './policies.ts';
import type { Requests } from './requests.ts';

export abstract class User {
  protected readonly course: Course;
  protected readonly requests: Requests;
  protected readonly draw: Draw;

  constructor(course: Course, requests: Requests, draw: Draw) {
    this.course = course;
    this.requests = requests;
    this.draw = draw;
  }
}
